"""What a command shows: bars, warnings, and nothing but the exit code if nobody listens."""

import io
import os
import pty
import re
import subprocess
import sys
import warnings
from contextlib import suppress

import pytest

from mne_invkit.cli import main
from mne_invkit.cli.terminal import patient_streams, say, short_warnings

RUN = "import sys; from mne_invkit.cli import main; sys.exit(main())"


def shell(command, shop, cwd):
    """Run a line of the shell; ``RUN`` stands for the program."""
    arguments = f"solve {shop['evoked']} {shop['forward']} --method eloreta --output out.h5"
    line = command.replace("RUN", f"{sys.executable} -c '{RUN}' {arguments}")
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, cwd=cwd, timeout=120
    )


@pytest.mark.parametrize(
    "command", ["RUN >&- 2>&-", "RUN -v 2>&- | head -1; exit ${PIPESTATUS[0]}"]
)
def test_streams_may_close(command, shop, tmp_path):
    done = shell(command, shop, tmp_path)
    assert done.returncode == 0
    assert not done.stderr
    assert (tmp_path / "out.h5").stat().st_size > 1000


def test_when_the_reader_leaves_the_work_goes_on(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        with patient_streams():
            for _ in range(3):
                print("nobody listens", flush=True)
            sys.stdout.finish()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_that_cannot_be_written_is_an_error(shop, work, monkeypatch, capsys):
    arguments = ["solve", shop["evoked"], shop["forward"], "--method", "eloreta"]
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert main([*arguments, "--output", "out.h5"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mne-invkit: error: [Errno 28]")


def test_bar_shows_on_a_terminal_that_does_not_know_its_size(shop, tmp_path):
    master, slave = pty.openpty()
    code = f"import mne_invkit._progress as p; p._DELAY = 0; {RUN}"
    files = [shop[name] for name in ("evoked", "forward", "cov")]
    command = [sys.executable, "-c", code, "solve", *files, "--output", "out.h5"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, cwd=tmp_path, timeout=120)
    os.close(slave)
    assert done.returncode == 0
    shown = os.read(master, 100_000).decode()
    os.close(master)
    for word in ("kronbayes:  ", "sweep/s", "cost="):
        assert word in shown
        assert word not in done.stdout.decode()


def test_debugging_tells_of_every_sweep(shop, work, capsys):
    files = [shop[name] for name in ("evoked", "forward", "cov")]
    assert main(["solve", *files, "--output", "out.h5", "-vv"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"Sweep 3: cost [\d.]+, \d+ active locations", text)


# %% Warnings and errors


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line_without_code(capsys):
    with short_warnings():
        warnings.warn("The head lies\n far away.", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "mne-invkit: warning: The head lies far away.\n"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ([], "mne-invkit: warning: The data span 0 to 0.29 s, less than"),
        (["-q"], None),
    ],
)
def test_warnings_of_a_command(shop, work, capsys, option, expected):
    window = ["--tmax", "2", "--method", "eloreta", "--output", "out.h5"]
    assert main(["solve", shop["evoked"], shop["forward"], *window, *option]) == 0
    shown = capsys.readouterr().err
    if expected:
        assert expected in shown
    else:
        assert not shown


def test_debugging_shows_where_a_warning_is_from(shop, work, capsys):
    window = ["--tmax", "2", "--method", "eloreta", "--output", "out.h5", "-vv"]
    with pytest.warns(RuntimeWarning, match="less than the window"):
        main(["solve", shop["evoked"], shop["forward"], *window])


def test_an_error_without_words_has_its_name(capsys):
    say("error", ValueError())
    assert capsys.readouterr().err == "mne-invkit: error: ValueError\n"


def test_names_that_the_terminal_has_no_letters_for(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    with patient_streams():
        print("sub-é.h5")
    assert stream.buffer.getvalue() == b"sub-\\xe9.h5\n"


def test_streams_come_back_after_an_error():
    before = sys.stdout, sys.stderr
    with suppress(KeyError), patient_streams():
        assert sys.stdout is not before[0]
        raise KeyError
    assert (sys.stdout, sys.stderr) == before


def test_broken_commands_of_a_plugin_leave_the_others(monkeypatch, capsys):
    class Broken:
        value = "plugin:commands"

        def load(self):
            raise ImportError("no such library")

    monkeypatch.setattr("mne_invkit.cli.entry_points", lambda group: [Broken()])
    with pytest.raises(SystemExit):
        main(["--help"])
    captured = capsys.readouterr()
    assert "commands of 'plugin:commands' are left out" in captured.err
    assert "solve" in captured.out
