"""What is shipped installs and imports where nothing else is."""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_built_wheel_works_in_an_empty_environment(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("nagviz-*.whl")
    venv.create(tmp_path / "empty")
    python = tmp_path / "empty" / "bin" / "python"
    # By the pip that is here, and compiling to bytecode no more than what is imported: both take longer than the rest.
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", wheel]
    subprocess.run(install, check=True, capture_output=True)
    code = """if True:
        import nagviz as nv, importlib.resources, importlib.util
        assert importlib.util.find_spec("flax") is None
        assert (importlib.resources.files("nagviz") / "py.typed").is_file()
        nv.nag(0.1), nv.evaluate, nv.figures.landscape
        print(nv.__version__)
        print(*sorted(f.name for f in importlib.resources.files("nagviz.figures").joinpath("browser").iterdir()))
    """
    run = subprocess.run([python, "-W", "error", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    version, browser = run.stdout.splitlines()
    assert version in wheel.name
    assert browser.split() == sorted(file.name for file in (ROOT / "nagviz" / "figures" / "browser").iterdir())
    command = tmp_path / "empty" / "bin" / "nagviz"
    refused = subprocess.run(
        [command, "run", ROOT / "experiments" / "digits.toml"], capture_output=True, text=True, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "pip install 'nagviz[experiments]'" in refused.stderr
