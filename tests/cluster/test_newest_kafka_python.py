"""The demo's scripts with the newest kafka-python, which is not in Debian: idempotent and acks=all by default.

An extra, since it asks a registry:  BARNABAS_NEWEST_CLIENTS=1 scripts/test --no-deps newest
"""
import os
import shutil
import subprocess
import sys

import pytest
import test_article

VARIABLE = "BARNABAS_NEWEST_CLIENTS"


@pytest.fixture(scope="module")
def newest(tmp_path_factory):
    """A folder with kafka-python 3 or later."""
    if not os.environ.get(VARIABLE):
        pytest.skip(f"asks a registry of Python packages; wanted with {VARIABLE}=1")
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip is None:
        pytest.skip("no pip (package python3-pip)")
    folder = str(tmp_path_factory.mktemp("newest"))
    done = subprocess.run([pip, "install", "--no-input", "--quiet", "--disable-pip-version-check", "--target", folder,
                           "kafka-python>=3"], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        pytest.skip(f"kafka-python 3 cannot be had: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture
def environment(newest, monkeypatch):
    """The scripts find it before Debian's."""
    path = os.pathsep.join([newest, test_article.SCRIPTS])
    monkeypatch.setitem(test_article.ENV, "PYTHONPATH", path)
    monkeypatch.setenv("PYTHONPATH", path)
    version = subprocess.run([sys.executable, "-c", "import kafka; print(kafka.__version__)"], capture_output=True,
                             text=True, check=True).stdout
    assert int(version.split(".")[0]) >= 3


def test_the_scripts_produce_and_consume(environment, shared_cluster, topic, tmp_path):
    test_article.test_the_scripts_produce_and_consume_and_a_group_goes_on_where_it_was(shared_cluster, topic, tmp_path)


@pytest.mark.parametrize("name", ["producer.py", "consumer.py"])
def test_a_script_waits_for_a_broker_that_is_not_up_yet(environment, cluster, topic, tmp_path, name):
    test_article.test_a_script_waits_for_a_broker_that_is_not_up_yet(cluster, topic, tmp_path, name)


def test_the_producer_goes_on_when_its_broker_comes_back(environment, cluster, topic, tmp_path):
    test_article.test_the_producer_goes_on_when_its_broker_comes_back(cluster, topic, tmp_path)


def test_the_articles_own_scripts_work(environment, needs_cluster, network, tmp_path):
    test_article.test_the_articles_own_scripts_work_whichever_is_started_first(needs_cluster, network, tmp_path,
                                                                               "consumer")
