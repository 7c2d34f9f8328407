"""Quality of labelled data: label errors, values of training rows, near-duplicates and drift, without training."""
