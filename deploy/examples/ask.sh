#!/bin/sh
# Ask through the proxy, as a client would. KEY is the one in ../clients/routes.yaml.
set -eu
cd "$(dirname "$0")"
curl --silent --show-error --fail-with-body --cacert "${CA:-../tls/tls.crt}" --header "x-api-key: ${KEY:?the key of a client}" \
  --data @request.json "${ADDRESS:-https://localhost:8443}/v1/models/<< name >>:predict"
