"""How gunicorn serves the hub: `gunicorn 'app:create_app()'` in production, embedded by `python app.py`.

HOST, PORT, WEB_CONCURRENCY (processes; more than one needs PostgreSQL), WEB_THREADS, PIN_CPU and FORWARDED_ALLOW_IPS
in the environment change it. Settings: https://docs.gunicorn.org/en/stable/settings.html
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_host = os.environ.get("HOST", "127.0.0.1")
_port = os.environ.get("PORT", "8000")
_cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

wsgi_app = "app:create_app()"
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = int(os.environ.get("WEB_THREADS", "32"))  # the writer's batches fill from as many requests as run at once
preload_app = False  # threads and connections must be made after the fork
timeout = 60
graceful_timeout = 20
keepalive = 5
errorlog = "-"
accesslog = None  # request lines carry tokens; the hub logs ids
control_socket_disable = True  # it would be opened in the user's home, the same for every hub on the machine
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # the heartbeat must not wait for a disk

# Only a proxy on this machine may say that the request came by https, and for whom (`hub.web.client_ip`); nobody may
# move the path by a header.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
forwarder_headers = ""


def _pins(processes: int) -> bool:
    """Whether the process keeps to one core: PIN_CPU, else yes for a single process on several cores.

    Python runs one thread at a time; handing it from core to core for every request doubles the CPU per request.
    """
    wanted = os.environ.get("PIN_CPU", "").lower()
    if wanted in ("1", "on", "true", "yes"):
        return bool(_cores)
    if wanted in ("0", "off", "false", "no"):
        return False
    if wanted:
        raise ValueError(f"PIN_CPU is {wanted!r}; set it to 'on' or 'off', or leave it out")
    return processes == 1 and len(_cores) > 1


def post_fork(server: Any, worker: Any) -> None:
    """Pin before the application loads, so that every later thread inherits it. Hubs side by side take other cores."""
    from config.collector import wait_while_loading  # found once gunicorn has this folder on its path

    if _pins(server.cfg.workers):
        os.sched_setaffinity(0, {_cores[(os.getppid() + worker.age - 1) % len(_cores)]})
    wait_while_loading()


def post_worker_init(worker: Any) -> None:
    """Start the threads that a web process needs, in the process that serves."""
    from config.collector import spare_what_is_loaded

    spare_what_is_loaded()
    start = getattr(_hub(worker), "start_web", None)
    if start:
        start()


def worker_exit(server: Any, worker: Any) -> None:
    """Let the threads finish what they hold."""
    stop = getattr(_hub(worker), "stop", None)
    if stop:
        stop()


def _hub(worker: Any) -> Any:
    """The running hub, or None when the application could not be loaded."""
    application = getattr(worker, "wsgi", None)
    return getattr(application, "extensions", {}).get("hub")
