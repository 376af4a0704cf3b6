# The commands a person types. Each is quiet about what went well; what went wrong is printed whole, and the log named.
.PHONY: help setup build test test-release demo completions dist neon fuzz clean

help:
	@echo "make setup         check Swift, install missing system packages (Debian, Ubuntu)"
	@echo "make build         setup, then a release build: .build/release/dinoctl"
	@echo "make test          setup, then every test (debug)"
	@echo "make test-release  every test again on optimised code"
	@echo "make demo          build, then segment the photographs in samples/ (DINO_DEMO_MODEL=FILE takes another model)"
	@echo "make completions   shell completions for bash, zsh and fish into out/completions"
	@echo "make dist          the program for machines without Swift: out/dinoctl-VERSION-linux-ARCH.tar.gz"
	@echo "make neon          the kernels for Arm, compiled and tested under an emulator"
	@echo "make fuzz          fuzz the file readers for FUZZ_SECONDS (default 60) each"
	@echo "make clean         remove what was built"

setup:
	@scripts/setup.sh

build: setup
	@scripts/quietly.sh build "release build" swift build -c release --product dinoctl

test: setup
	@scripts/test.sh debug

test-release: setup
	@scripts/test.sh release

demo: build
	@scripts/demo.sh

completions: build
	@scripts/completions.sh

dist: setup
	@scripts/dist.sh

neon: setup
	@if [ -x Tests/neon.sh ]; then Tests/neon.sh; else echo "make neon: Tests/neon.sh is not in this checkout" >&2; exit 1; fi

fuzz: setup
	@if [ -x Tests/Fuzz/run.sh ]; then Tests/Fuzz/run.sh; else echo "make fuzz: Tests/Fuzz/run.sh is not in this checkout" >&2; exit 1; fi

clean:
	@rm -rf .build out
