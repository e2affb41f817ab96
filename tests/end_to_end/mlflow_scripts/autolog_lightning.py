"""A training script that knows nothing of runyard: MLflow logs what Lightning does, into the run of the job."""

import sys

sys.path.append(sys.argv[1])  # MLflow and Lightning, beside the packages of the environment

import lightning
import mlflow
import torch


class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)

    def training_step(self, batch, _):
        given, wanted = batch
        loss = torch.nn.functional.mse_loss(self.line(given), wanted)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.25)


mlflow.autolog(log_models=False)  # to guess a model's requirements is to install them
given = torch.linspace(0, 1, 64).unsqueeze(1)
batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(given, 2 * given), batch_size=16)
quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
lightning.Trainer(max_epochs=3, accelerator="cpu", **quiet).fit(Line(), batches)
print("logged to", mlflow.last_active_run().info.run_id)
