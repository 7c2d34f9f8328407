#!/bin/sh
# Send a request through the proxy, as a client would. KEY is a key in ../clients/routes.yaml.
set -eu
cd "$(dirname "$0")"
curl --silent --show-error --fail-with-body --cacert "${CA:-../tls/tls.crt}" --header "x-api-key: ${KEY:?a client key}" \
  --data @request.json "${ADDRESS:-https://localhost:8443}/v1/models/<< name >>:predict"
