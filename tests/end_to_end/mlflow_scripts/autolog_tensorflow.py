"""A training script that knows nothing of runyard: MLflow logs what TensorFlow and Keras do, into the run of the job."""

import sys

sys.path.append(sys.argv[1])  # MLflow, beside the packages of the environment

import keras
import mlflow
import numpy
import tensorflow

numbers = numpy.random.default_rng(0).random((64, 4)).astype("float32")
is_large = (numbers.sum(axis=1) > 2).astype("float32")


def trained(layers, rate, given, **more):
    model = layers.Sequential([layers.Input((4,)), layers.layers.Dense(1, activation="sigmoid")])
    model.compile(layers.optimizers.SGD(rate), "binary_crossentropy", metrics=["accuracy"])
    model.fit(*given, epochs=3, verbose=0, **more)


# To guess a model's requirements is to install them: models are not logged.
mlflow.tensorflow.autolog(log_models=False)
dataset = tensorflow.data.Dataset.from_tensor_slices((numbers, is_large)).batch(16)
trained(tensorflow.keras, 0.5, (dataset,))
print("TensorFlow logged to", mlflow.last_active_run().info.run_id)
mlflow.tensorflow.autolog(disable=True)

mlflow.keras.autolog(log_models=False)
with mlflow.start_run(run_name="keras"):
    trained(keras, 0.25, (numbers, is_large), batch_size=32)
