"""Fine-tune BERT on the tasks of your own domain with Keras and TensorFlow, and serve it with TensorFlow Serving."""

__version__ = "0.1.0"
