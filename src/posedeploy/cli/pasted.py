"""Options of MMDeploy's `tools/deploy.py` that are taken so that its commands can be pasted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from posedeploy.cli.terminal import one_line
from posedeploy.config import DeployConfig, load_deploy_config
from posedeploy.config.naming import conflict

_PANEL = "Options of MMDeploy's commands, taken as they are pasted"


def _option(text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=text, rich_help_panel=_PANEL)
    return option


DumpInfoOption = Annotated[bool, typer.Option(
    "--dump-info", help="Nothing more: the JSON files are always written.",
    rich_help_panel=_PANEL)]  # fmt: skip
QuantOption = Annotated[bool, typer.Option(
    "--quant", help="Nothing more: an int8 deploy config quantizes.", rich_help_panel=_PANEL,
)]  # fmt: skip
QuantImageDirOption = Annotated[Path | None, _option("As --calib-images, for int8.")]
CalibDatasetCfgOption = Annotated[str | None, _option("Not read: use --calib-images.")]
UriOption = Annotated[str | None, _option("Not used: nothing is sent to another device.")]
IpOption = Annotated[str | None, _option("Not used, as --uri.")]
PortOption = Annotated[str | None, _option("Not used, as --uri.")]


@dataclass(frozen=True)
class Pasted:
    """What was given of these options; the fields are named like them."""

    dump_info: bool = False
    quant: bool = False
    quant_image_dir: Path | None = None
    calib_dataset_cfg: str | None = None
    uri: str | None = None
    ip: str | None = None
    port: str | None = None

    def taken(self, deploy_cfg: str, calib_images: Path | None, out: Console) -> Path | None:
        """The folder of calibration images; a line on each option that was given is printed."""
        if self == Pasted():
            return calib_images
        deploy_config = load_deploy_config(deploy_cfg)
        for note in self.notes(deploy_config):
            out.print(one_line(note), style="yellow", soft_wrap=True)
        return self.quant_image_dir if calib_images is None and _int8(deploy_config) else (
            calib_images
        )  # fmt: skip

    def notes(self, deploy_config: DeployConfig) -> Iterator[str]:
        """A line on what happens for each option that was given."""
        precision = deploy_config.precision
        if self.dump_info:
            yield "--dump-info: the JSON files are written in any case."
        if self.quant and _int8(deploy_config):
            yield "--quant: this deploy config is for int8, and that is what is made."
        elif self.quant:
            yield f"--quant: nothing is quantized: this deploy config is for {precision}. " + (
                f"The one for int8 is {name}." if (name := _int8_name(deploy_config))
                else f"{deploy_config.backend} has none for int8."
            )  # fmt: skip
        if self.quant_image_dir is not None:
            yield f"--quant-image-dir: {self.quant_image_dir} " + (
                "is taken as --calib-images." if _int8(deploy_config)
                else f"is not read: nothing is calibrated for {precision}."
            )  # fmt: skip
        if self.calib_dataset_cfg is not None:
            yield f"--calib-dataset-cfg: {self.calib_dataset_cfg} is not read. " + (
                "int8 is calibrated on --calib-images FOLDER, and without it on drawn figures."
                if _int8(deploy_config) else f"Nothing is calibrated for {precision}."
            )  # fmt: skip
        if remote := [f"--{name}" for name in ("uri", "ip", "port") if getattr(self, name)]:
            names = ", ".join(remote)
            yield f"{names}: not used: copy the folder to the device, and run it there."


def _int8(deploy_config: DeployConfig) -> bool:
    return deploy_config.precision == "int8"


def _int8_name(deploy_config: DeployConfig) -> str | None:
    """Name of the deploy config that differs in its precision alone; None if there is none."""
    if deploy_config.name is None:
        return None
    name = replace(deploy_config.name, precision="int8", option="")
    return None if conflict(name) else str(name)
