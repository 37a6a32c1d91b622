import json
import subprocess
import sys

import pytest

from selfloop.decoding import Sampling
from selfloop.tasks import load

SHORT = ("--max-tokens", 20, "--seed", 7)


def test_one_text_begins_with_its_prompt_and_goes_on(selfloop, run_folder):
    said = selfloop("generate", run_folder, "--prompt", "the né", *SHORT)
    (text,) = load(run_folder).write(["the né"], max_tokens=20, sampling=Sampling(0.8), seed=7)
    assert said == (0, f"the né{text}\n", "")


def test_a_seed_repeats_the_text_and_no_seed_does_not(selfloop, run_folder):
    assert selfloop("generate", run_folder, *SHORT) == selfloop("generate", run_folder, *SHORT)
    assert selfloop("generate", run_folder) != selfloop("generate", run_folder)


def test_the_options_of_sampling_reach_it(selfloop, run_folder):
    drawn = ("--temperature", 1.5, "--top-k", 5, "--top-p", 0.9)
    (text,) = load(run_folder).write(max_tokens=20, sampling=Sampling(1.5, 5, 0.9), seed=7)
    assert selfloop("generate", run_folder, *SHORT, *drawn).out == text + "\n"
    greedy = selfloop("generate", run_folder, "--max-tokens", 20, "--temperature", 0)
    assert greedy.out == load(run_folder).write(max_tokens=20, sampling=Sampling(0.0))[0] + "\n"


def test_several_texts_stand_apart_and_each_begins_with_its_prompt(selfloop, run_folder):
    said = selfloop("generate", run_folder, "--prompt", "the", "--prompt", "né", *SHORT)
    one, other = load(run_folder).write(["the", "né"], max_tokens=20, sampling=Sampling(0.8), seed=7)
    assert said.out == f"the{one}\n\nné{other}\n"


@pytest.mark.parametrize("prompts", [[], ["the"], ["the", "né 你\n"]], ids=len)
@pytest.mark.parametrize("method", [SHORT, ("--max-tokens", 5, "--beam", 2)], ids=["drawn", "beam"])
def test_json_is_a_line_for_each_text(selfloop, run_folder, prompts, method):
    options = [part for prompt in prompts for part in ("--prompt", prompt)]
    said = selfloop("generate", run_folder, *options, *method, "--json")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["prompt"] for line in lines] == (prompts or [""])
    assert all(line["text"] for line in lines)


def test_beam_prints_the_best_that_search_finds(selfloop, run_folder):
    found = load(run_folder).search(["the"], max_tokens=6, beam=3)
    said = selfloop("generate", run_folder, "--prompt", "the", "--max-tokens", 6, "--beam", 3)
    assert said == (0, f"the{found[0][0][0]}\n", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--beam", 2, "--top-k", 3), "--beam searches and does not draw, so it does not go with --top-k."),
        (
            ("--beam", 2, "--temperature", 0, "--seed", 1),
            "--beam searches and does not draw, so it does not go with --temperature and --seed.",
        ),
        (("--temperature", -1), "The 'temperature' must be at least 0, which is greedy. Got -1.0 instead."),
        (("--top-k", 0), "The 'top_k' must be at least 1. Got 0 instead."),
        (("--top-p", 1.5), "The 'top_p' must be above 0 and at most 1. Got 1.5 instead."),
        (("--seed", -1), "The 'seed' must be at least 0 and below 2**64. Got -1 instead."),
        (("--prompt", "\udcff"), r"A prompt must be text, in Unicode. Got '\udcff' instead."),
        (("--cell", "lstn"), "The cell 'lstn' is not in the zoo; did you mean 'lstm'?"),
    ],
)
def test_what_does_not_go_is_one_sentence_and_status_2(selfloop, run_folder, options, message):
    assert selfloop("generate", run_folder, *options) == (2, "", f"selfloop: {message}\n")


def test_a_run_that_is_not_there_is_one_sentence_and_status_2(selfloop, tmp_path):
    said = selfloop("generate", tmp_path / "none")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"selfloop: {tmp_path}/none does not exist.")


def test_a_reader_that_leaves_is_no_error_to_print(run_folder):
    """As `selfloop generate … | head`: the pipe's other end is closed after the first characters."""
    command = [sys.executable, "-m", "selfloop", "generate", run_folder, "--prompt", "the cat", "--max-tokens", "20000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(7) == b"the cat"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_share_of_unknown_tokens_is_shown_in_place_of_bits_per_character(run_folder, selfloop, tmp_path):
    (tmp_path / "a.txt").write_text("the catß" * 20)
    said = selfloop("evaluate", run_folder, tmp_path / "a.txt")
    assert "12.5% of the tokens unknown" in said.out and "bits/char" not in said.out
    facts = json.loads(selfloop("evaluate", run_folder, tmp_path / "a.txt", "--json").out)["a.txt"]
    assert facts["unknown"] == 1 / 8 and "bits_per_character" not in facts
