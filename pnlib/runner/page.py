"""`pnlib page`: the cells of 08_predict that are tagged `page`, shown by Voila."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from pnlib.base.errors import InputError
from pnlib.base.machine import environment_with
from pnlib.runner.notebooks import path_of, this_python

UPLOAD = 60_000_000  # bytes of a message from the browser; `Page` answers files of up to 20 MB
IDLE = 900  # seconds after which the process behind a page that nobody uses ends


def page(options: Namespace) -> int:
    """Serve the page until it is interrupted."""
    try:
        from voila.app import Voila
    except ImportError:
        raise InputError("The page needs one more package: pip install 'pnlib[page]'.") from None
    app = Voila.instance(ip=options.ip, port=options.port, open_browser=options.browser, log_level="ERROR")
    app.tornado_settings = {"websocket_max_message_size": UPLOAD}
    config = app.config
    config.VoilaConfiguration.template = "pnlib"  # voila/templates/pnlib in this folder
    config.VoilaConfiguration.allow_template_override = config.VoilaConfiguration.allow_theme_override = "NO"
    config.VoilaConfiguration.file_allowlist = []  # no file is served
    config.VoilaConfiguration.prelaunch_hook = keep_the_page
    config.MappingKernelManager.cull_idle_timeout, config.MappingKernelManager.cull_interval = IDLE, 60
    with this_python():
        places = [str(Path(__file__).parent), os.environ["JUPYTER_PATH"]]
        with environment_with({"JUPYTER_PATH": os.pathsep.join(places)}):
            print(f"http://{options.ip}:{options.port}/ answers in half a minute; Ctrl-C ends it.", flush=True)
            Voila.launch_instance(argv=[str(path_of("08_predict"))])
    return 0


def keep_the_page(request: Any, notebook: Any, cwd: str) -> Any:
    """Voila's hook: the notebook without its lesson."""
    notebook.cells = [cell for cell in notebook.cells if "page" in cell.metadata.get("tags", [])]
    return notebook
