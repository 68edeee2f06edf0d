"""deploy/ and scripts/compose, as far as files alone can tell; tests/deploy starts them for real."""
import os
import re
import shutil
import subprocess

import pytest

yaml = pytest.importorskip("yaml", reason="no python3-yaml")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARTICLE = f"{ROOT}/deploy/docker-compose.yml"
CLUSTER = f"{ROOT}/deploy/docker-compose.cluster.yml"

# The environments of the article's compose file, line for line.
ARTICLE_ENVIRONMENT = {
    "zookeeper": """\
ZOOKEEPER_CLIENT_PORT: 2181
ZOOKEEPER_TICK_TIME: 2000
""",
    "broker": """\
KAFKA_BROKER_ID: 1
KAFKA_ZOOKEEPER_CONNECT: "zookeeper:2181"
KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: PLAINTEXT:PLAINTEXT,PLAINTEXT_INTERNAL:PLAINTEXT
KAFKA_ADVERTISED_LISTENERS: PLAINTEXT://localhost:9092,PLAINTEXT_INTERNAL://broker:29092
KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: 1
KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: 1
KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: 1
""",
}


def compose(*words):
    return subprocess.run([f"{ROOT}/scripts/compose", *map(str, words)], capture_output=True, text=True, check=False)


def printed(*words):
    done = compose(*words)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def environment_lines(text, service):
    """The lines below `environment:` of a service, without their indentation."""
    block = re.search(rf"^  {service}:\n((?:    .*\n|\n)*)", text, re.M).group(1)
    lines = re.search(r"^    environment:\n((?:      .*\n)*)", block, re.M).group(1)
    return re.sub(r"^ +", "", lines, flags=re.M)


# ------------------------------------------------------------------ the article's file


@pytest.mark.parametrize("service", ["zookeeper", "broker"])
def test_every_environment_line_is_the_articles(service):
    assert environment_lines(read(ARTICLE), service) == ARTICLE_ENVIRONMENT[service]


def test_only_the_images_differ_from_the_article():
    services = yaml.safe_load(read(ARTICLE))["services"]
    images = {name: (service.pop("image"), service.pop("build")) for name, service in services.items()}
    for service in services.values():
        del service["environment"]  # compared above, with its spelling
    assert services == {
        "zookeeper": {"container_name": "zookeeper"},
        "broker": {"container_name": "broker", "ports": ["9092:9092"], "depends_on": ["zookeeper"]},
    }
    assert images == {
        "zookeeper": ("barnabas-zookeeper", "zookeeper"),
        "broker": ("barnabas", {"context": "..", "dockerfile": "deploy/broker/Dockerfile"}),
    }


# ------------------------------------------------------------------ scripts/compose


def test_the_cluster_file_is_what_scripts_compose_prints_for_three():
    assert read(CLUSTER) == compose(3).stdout


@pytest.mark.parametrize("brokers, factor, min_isr", [(1, 1, 1), (2, 2, 1), (3, 3, 2), (12, 3, 2)])
def test_any_number_of_brokers(brokers, factor, min_isr):
    file = printed(brokers)
    names = [f"broker{i}" for i in range(1, brokers + 1)]
    assert list(file["services"]) == ["zookeeper", *names]
    seen = set()
    for i, name in enumerate(names, 1):
        service, port = file["services"][name], 9090 + i
        environment = service["environment"]
        assert environment["KAFKA_BROKER_ID"] == i
        assert environment["KAFKA_LISTENERS"] == f"INTERNAL://0.0.0.0:29092,EXTERNAL://0.0.0.0:{port}"
        assert environment["KAFKA_ADVERTISED_LISTENERS"] == f"INTERNAL://{name}:29092,EXTERNAL://localhost:{port}"
        assert environment["KAFKA_INTER_BROKER_LISTENER_NAME"] == "INTERNAL"
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert environment["KAFKA_MIN_INSYNC_REPLICAS"] == min_isr
        assert environment["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == min_isr
        for key in ("DEFAULT", "OFFSETS_TOPIC", "TRANSACTION_STATE_LOG"):
            assert environment[f"KAFKA_{key}_REPLICATION_FACTOR"] == factor
        assert service["healthcheck"]["test"] == ["CMD", "barnabasd", "healthcheck"]
        assert service["volumes"] == [f"{name}-data:/var/lib/kafka/data"]
        seen.update(volume.split(":")[0] for volume in service["volumes"])
    assert {"zookeeper-data", "zookeeper-log", *seen} == set(file["volumes"])


def test_an_ensemble_of_zookeepers():
    file = printed(2, "--zookeepers", 3)
    servers = "zookeeper1:2888:3888;zookeeper2:2888:3888;zookeeper3:2888:3888"
    for i in (1, 2, 3):
        environment = file["services"][f"zookeeper{i}"]["environment"]
        assert environment["ZOOKEEPER_SERVERS"] == servers
        assert environment["ZOOKEEPER_SERVER_ID"] == i
    broker = file["services"]["broker2"]
    assert broker["environment"]["KAFKA_ZOOKEEPER_CONNECT"] == "zookeeper1:2181,zookeeper2:2181,zookeeper3:2181"
    assert broker["depends_on"] == ["zookeeper1", "zookeeper2", "zookeeper3"]


@pytest.mark.parametrize("words", [[], ["0"], ["101"], ["x"], ["-1"], ["3", "4"], ["3", "--zookeepers"],
                                   ["3", "--zookeepers", "0"], ["3", "--zookeepers", "10"], ["3", "--brokers", "2"]])
def test_nonsense_is_refused_with_nothing_printed(words):
    done = compose(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(("usage:", "error:"))


# What Debian's docker-compose 1.29 refuses, and what v2 warns of: one file must serve both.
@pytest.mark.parametrize("path", [ARTICLE, CLUSTER])
def test_nothing_in_the_files_is_for_one_version_of_compose_alone(path):
    file = yaml.safe_load(read(path))
    assert "version" not in file and "name" not in file
    assert "start_interval" not in read(path)


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="no docker-compose")
@pytest.mark.parametrize("path", [ARTICLE, CLUSTER])
def test_docker_compose_accepts_the_files(path):
    done = subprocess.run(["docker-compose", "-f", path, "config", "-q"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_paths_that_the_files_build_from_exist():
    for path in (ARTICLE, CLUSTER):
        for service in yaml.safe_load(read(path))["services"].values():
            build = service["build"]
            folder = os.path.join(ROOT, "deploy", build if isinstance(build, str) else build["context"])
            dockerfile = "Dockerfile" if isinstance(build, str) else build["dockerfile"]
            assert os.path.isfile(os.path.join(folder, dockerfile))


# ------------------------------------------------------------------ ZooKeeper's image


def zookeeper_config(tmp_path, **environment):
    for folder in ("data", "log"):
        os.makedirs(tmp_path / folder, exist_ok=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ZOOKEEPER_", "KAFKA_"))}
    return subprocess.run(["bash", f"{ROOT}/deploy/zookeeper/start", "--print-config"], capture_output=True, text=True,
                          check=False, env={**clean, "ZOOKEEPER_HOME": str(tmp_path), **environment})


def test_zookeeper_takes_the_articles_variables(tmp_path):
    done = zookeeper_config(tmp_path, ZOOKEEPER_CLIENT_PORT="2181", ZOOKEEPER_TICK_TIME="1500")
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.split("\n")
    assert {"clientPort=2181", "tickTime=1500", f"dataDir={tmp_path}/data", f"dataLogDir={tmp_path}/log",
            "admin.enableServer=false"} <= set(lines)
    assert not any(line.startswith("server.") for line in lines)
    assert not os.path.exists(tmp_path / "data" / "myid")


def test_zookeeper_numbers_servers_by_their_place(tmp_path):
    done = zookeeper_config(tmp_path, ZOOKEEPER_CLIENT_PORT="2181", ZOOKEEPER_SERVER_ID="2",
                            ZOOKEEPER_SERVERS="zk-a:2888:3888;zk-b:2888:3888")
    assert done.returncode == 0, done.stderr
    assert {"server.1=zk-a:2888:3888", "server.2=zk-b:2888:3888", "initLimit=10", "syncLimit=5",
            "tickTime=2000"} <= set(done.stdout.split("\n"))
    assert read(tmp_path / "data" / "myid") == "2\n"


@pytest.mark.parametrize("environment, text", [
    ({}, "ZOOKEEPER_CLIENT_PORT is required"),
    ({"ZOOKEEPER_CLIENT_PORT": "http"}, "ZOOKEEPER_CLIENT_PORT=http is no port"),
    ({"ZOOKEEPER_CLIENT_PORT": "70000"}, "ZOOKEEPER_CLIENT_PORT=70000 is no port"),
    ({"ZOOKEEPER_CLIENT_PORT": "2181", "ZOOKEEPER_SERVERS": "a:1:2"}, "ZOOKEEPER_SERVER_ID is required"),
    ({"ZOOKEEPER_CLIENT_PORT": "2181", "ZOOKEEPER_SERVERS": "a:1:2", "ZOOKEEPER_SERVER_ID": "2"},
     "ZOOKEEPER_SERVER_ID=2, but ZOOKEEPER_SERVERS names 1 server(s)"),
])
def test_zookeeper_says_what_is_missing_or_wrong(tmp_path, environment, text):
    done = zookeeper_config(tmp_path, **environment)
    assert done.returncode == 1
    assert text in done.stderr


def test_zookeeper_says_whose_folder_it_is(tmp_path):
    done = zookeeper_config(tmp_path / "home", ZOOKEEPER_CLIENT_PORT="2181", ZOOKEEPER_HOME=str(tmp_path / "none"))
    assert done.returncode == 1
    assert f"{tmp_path}/none/data cannot be written by uid {os.getuid()}" in done.stderr
    assert f"chown -R {os.getuid()}:0" in done.stderr


def test_zookeeper_ignores_kubernetes_links_and_names_other_strangers(tmp_path):
    done = zookeeper_config(tmp_path, ZOOKEEPER_CLIENT_PORT="2181", ZOOKEEPER_PORT="tcp://10.0.0.1:2181",
                            ZOOKEEPER_SERVICE_HOST="10.0.0.1", ZOOKEEPER_PORT_2181_TCP="tcp://10.0.0.1:2181",
                            ZOOKEEPER_TICKTIME="1")
    assert done.returncode == 0
    assert done.stderr == "warning: ZOOKEEPER_TICKTIME is not a setting of this image; ignored\n"


# ------------------------------------------------------------------ systemd


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path):
    """With a program that exists here in the place of the one that is installed there."""
    unit = read(f"{ROOT}/deploy/barnabas.service")
    assert "ExecStart=/usr/bin/barnabasd /etc/barnabas/server.properties\n" in unit
    path = tmp_path / "barnabas.service"
    path.write_text(unit.replace("/usr/bin/barnabasd", shutil.which("true")), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.split("\n") if "barnabas.service" in line]
    assert done.returncode == 0 and ours == [], done.stderr


def test_the_packages_for_a_broker_that_was_built_elsewhere_are_those_that_it_loads():
    binary = os.path.join(ROOT, "build", "release", "barnabasd")
    if not os.access(binary, os.X_OK) or not shutil.which("dpkg-query"):
        pytest.skip(f"no {binary}, or no dpkg")
    loaded = re.findall(r"=> (/\S+)", subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout)
    owners = set()
    for library in loaded:
        for path in (library, "/usr" + library):
            found = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=False).stdout
            owners |= {line.split(":")[0] for line in found.splitlines()}
    listed = subprocess.run(["bash", f"{ROOT}/scripts/deps", "list", "broker"], capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) == owners - {"libc6", "libgcc-s1", "libstdc++6"}  # that others depend on


def test_the_sample_configuration_has_only_keys_that_the_broker_knows():
    with open(f"{ROOT}/broker/config/keys.def", encoding="utf-8") as file:
        known = set(re.findall(r'^KEY\(\w+, "([^"]+)"', file.read(), re.M))
    lines = [line for line in read(f"{ROOT}/deploy/server.properties").split("\n") if line and not line.startswith("#")]
    assert lines and {line.split("=")[0] for line in lines} <= known
