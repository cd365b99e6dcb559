# Runs first in the user's interpreter: finds the extension that was built for this very version, loads it and
# hands over. Must start fast (no import that the common case can do without) and must parse on any Python, so that
# one too old is told so in words.
import sys


def _give_up(message):
    # Nothing of the extension is there: the frames of the control channel are written by hand.
    import json
    import os

    sys.stderr = sys.stderr or sys.__stderr__
    control = os.environ.get("SUPERVISE_CONTROL_OUT")
    if control is None:
        os.write(2, ("error: " + message + "\n").encode("utf-8", "replace"))
    else:
        evidence = os.environ.get("SUPERVISE_EVIDENCE")
        if evidence is not None:
            os.lseek(int(evidence), 64 * 128, os.SEEK_SET)
            os.write(int(evidence), (message + "\n").encode("utf-8", "replace"))
        hello = {
            "type": "hello",
            "version": 1,
            "pid": os.getpid(),
            "runtime": "Python " + sys.version.split()[0] + " (" + sys.executable + ")",
            "stack_signal": None,
        }
        failed = {"type": "failed", "phase": "load", "message": message.split("\n")[0][:600]}
        for frame in (hello, failed):
            os.write(int(control), (json.dumps(frame) + "\n").encode("ascii"))
    sys.stdout.flush()
    sys.exit(3)


def _find_extension(directory, version):
    import os

    profile = os.path.basename(directory)
    above = os.path.dirname(directory)
    built = os.path.join(above, "python" + version, profile, "libworker_python.so")
    beside = os.path.join(directory, "libworker_python.so")
    return [path for path in (built, beside) if os.path.exists(path)], [built, beside]


def _load(path, name):
    from importlib.machinery import ExtensionFileLoader, ModuleSpec
    from _imp import create_dynamic, exec_dynamic

    loader = ExtensionFileLoader(name, path)
    module = create_dynamic(ModuleSpec(name, loader, origin=path))
    sys.modules[name] = module
    exec_dynamic(module)
    return module


def _extension(directory):
    version = "%d.%d" % sys.version_info[:2]
    name = "worker_python_cp%d%d" % sys.version_info[:2]
    found, looked_at = _find_extension(directory, version)
    reasons = []
    for path in found:
        try:
            return _load(path, name)
        except ImportError as error:
            reasons.append("%s: %s" % (path, error))
    try:
        import worker_python

        return worker_python
    except ImportError:
        reasons.extend("%s: not there" % path for path in looked_at if path not in found)
    _give_up(
        "no extension is built for Python %s (%s); build it with: "
        "PYO3_PYTHON=%s cargo build --release -p worker-python --target-dir target/python%s\nlooked at:\n  %s"
        % (version, sys.executable, sys.executable, version, "\n  ".join(reasons))
    )


def _main():
    directory, app_dir, target = sys.argv[1:4]
    if sys.version_info < (3, 9):
        _give_up(
            "%s is Python %s; Python 3.9 or later is needed (choose another with --python PATH)"
            % (sys.executable, sys.version.split()[0])
        )
    # What the application sees is what it would see if its own module had been started: no trace of this text.
    sys.argv[:] = ["supervise", target]
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    sys.path.insert(0, app_dir)
    return _extension(directory).main()


sys.exit(_main())
