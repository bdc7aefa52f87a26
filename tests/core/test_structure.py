"""The layout's promises: imports point one way, help is quick to load, the shell export works."""

import ast
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import nnunet_chordoma
from nnunet_chordoma.__main__ import trainer_path

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "nnunet_chordoma.dataset_conversion": ROOT / "dataset_conversion",
    "nnunet_chordoma.ensemble": ROOT / "ensemble",
    "nnunet_chordoma.evaluation": ROOT / "evaluation",
    "nnunet_chordoma.training": ROOT / "nnunet_chordoma" / "training",
    "nnunet_chordoma.gate": ROOT / "nnunet_chordoma" / "gate",
    "nnunet_chordoma.demo": ROOT / "nnunet_chordoma" / "demo",
    "nnunet_chordoma.segment": ROOT / "nnunet_chordoma" / "segment",
    "nnunet_chordoma.viewer": ROOT / "nnunet_chordoma" / "viewer",
    "nnunet_chordoma.review": ROOT / "nnunet_chordoma" / "review",
    "nnunet_chordoma.ext_trainers": ROOT / "nnunet_chordoma" / "ext_trainers",
}
CORE = ROOT / "nnunet_chordoma"
LOWEST = ("errors", "labels", "geometry")


def imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_stage(name):
    return next((s for s in FOLDERS if name == s or name.startswith(s + ".")), None)


ALLOWED = {
    "nnunet_chordoma.ext_trainers": {"nnunet_chordoma.training"},
    # It leads a patient through the stages, so it stands above them; none of them knows it.
    "nnunet_chordoma.segment": {
        "nnunet_chordoma.dataset_conversion",
        "nnunet_chordoma.training",
        "nnunet_chordoma.ensemble",
        "nnunet_chordoma.gate",
    },
    # It hands out what the stages made and joins what comes back; none of them knows it.
    "nnunet_chordoma.review": {
        "nnunet_chordoma.dataset_conversion",
        "nnunet_chordoma.evaluation",
        "nnunet_chordoma.viewer",
    },
}


@pytest.mark.parametrize("stage", FOLDERS)
def test_a_stage_never_imports_another(stage):
    allowed = {stage} | ALLOWED.get(stage, set())
    for path in FOLDERS[stage].rglob("*.py"):
        others = {own_stage(name) for name in imported(path)} - {None} - allowed
        assert not others, f"{path} imports {others}"


def test_the_core_imports_no_stage_and_its_lowest_layer_nothing_above():
    for path in CORE.glob("*.py"):
        names = imported(path)
        assert not {own_stage(n) for n in names} - {None}, path
        if path.stem in LOWEST:
            above = {n for n in names if n.startswith("nnunet_chordoma.") and n.split(".")[1] not in LOWEST}
            assert not above, f"{path} imports {above}"


def test_only_training_and_demo_import_nnunet():
    for path in [*CORE.glob("*.py"), *(p for s in FOLDERS for p in FOLDERS[s].rglob("*.py"))]:
        if any(name.split(".")[0] == "nnunetv2" for name in imported(path)):
            assert path.parent.name in ("training", "demo"), path


def test_every_package_folder_is_declared():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    below = {
        ".".join((stage, *module.parent.relative_to(folder).parts))
        for stage, folder in FOLDERS.items()
        for module in folder.rglob("*.py")
    }
    assert set(config["options"]["packages"].split()) == {"nnunet_chordoma", *below}
    for stage, folder in FOLDERS.items():
        for package in below:
            if package == stage or package.startswith(stage + "."):
                parts = package.removeprefix(stage).strip(".").split(".")
                assert (folder.joinpath(*parts) / "__init__.py").is_file(), package


def test_one_version():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == "attr: nnunet_chordoma.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", nnunet_chordoma.__version__)


def commands():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].strip().splitlines()
    return [tuple(part.strip() for part in re.split("[=:]", line)) for line in lines]


@pytest.mark.parametrize(("name", "module", "function"), commands())
def test_help_answers_without_heavy_imports(name, module, function):
    code = (
        f"import sys, {module} as m\n"
        f"sys.argv = ['{name}', '--help']\n"
        "try:\n"
        f"    m.{function}()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'SimpleITK', 'pandas', 'matplotlib', 'scipy', 'pydicom', 'nnunetv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_export_appends_to_what_is_set():
    ours = str(CORE / "ext_trainers")
    assert trainer_path({}).endswith("ext_trainers")
    set_before = {"nnUNet_extTrainer": f"/mine{os.pathsep}/yours"}
    assert trainer_path(set_before).split(os.pathsep)[:2] == ["/mine", "/yours"]
    once = {"nnUNet_extTrainer": trainer_path(set_before)}
    assert trainer_path(once) == once["nnUNet_extTrainer"]
    assert Path(trainer_path({})).samefile(ours)


def test_the_export_can_be_evaluated_by_a_shell():
    command = f'eval "$({sys.executable} -m nnunet_chordoma)"; echo "$nnUNet_extTrainer"'
    environment = {k: v for k, v in os.environ.items() if k != "nnUNet_extTrainer"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env=environment)
    assert (Path(done.stdout.strip()) / "chordoma_trainers.py").is_file()
