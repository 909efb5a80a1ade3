# The same steps as CI, under short names.
.PHONY: check test lint format lock bench

check:
	scripts/test

test:
	scripts/test tests

lint:
	scripts/setup dev
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

format:
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lock:
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet --extra sim pyproject.toml -o requirements.lock
	.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet --extra dev pyproject.toml -o requirements-dev.lock

bench:
	.venv/bin/python -m benchmarks
