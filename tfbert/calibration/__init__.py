"""When to trust a prediction: calibrated probabilities, prediction sets and abstention, fitted to held-out records."""
