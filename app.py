"""Composes the hub: `create_app()` for gunicorn, and the command line for the people who run it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from config import Settings
    from hub import Hub


def create_app(settings: Settings | None = None, hub: Hub | None = None) -> Flask:
    """The web application. Starts no thread: the server's hooks do, in the process that serves.

    Raises SettingsError, AssetsMissing, or AlreadyRunning when another process has this SQLite database.
    """
    # Imported here, because `python app.py token create` should not wait for the whole web application.
    from flask import Flask

    import api
    import chatops
    import inbox
    import webhooks
    from config import load
    from config.logs import set_up_logging
    from hub import Hub
    from hub.web import Cookies
    from inbox import assets
    from inbox.compiled import Compiled
    from sandbox import page as sandbox_page
    from storage.migrations import upgrade_when_there
    from storage.outages import is_news
    from webhooks.express import Express

    assets.require()
    settings = settings or (hub.settings if hub else load())
    if hub is None:
        if not logging.getLogger().handlers:  # under gunicorn; `python app.py` has set it up by now
            set_up_logging(settings, is_news)
        hub = Hub(settings)
        hub.occupy()
        upgrade_when_there(hub.store)
    app = Flask("switchyard", static_folder=None, template_folder=None)
    app.extensions["hub"] = hub
    app.secret_key = settings.secret_key
    app.session_interface = Cookies()
    assets.register(app)
    app.register_blueprint(webhooks.create_blueprint())
    app.register_blueprint(chatops.create_blueprint())
    app.register_blueprint(api.create_blueprint())
    app.register_blueprint(inbox.create_blueprint())
    if settings.demo:
        app.register_blueprint(sandbox_page.create_blueprint())
    app.jinja_env.bytecode_cache = Compiled(settings.data_dir / "templates")
    app.wsgi_app = Express(app)  # type: ignore[method-assign]
    return app


if __name__ == "__main__":
    from cli import main

    sys.exit(main(create_app))
