"""kafka-python gives a broker two seconds to say what it speaks, and then says that no broker is there. On a busy machine
those pass. With this folder first on PYTHONPATH a program gives it longer, without a word of its own: see
patient/sitecustomize.py, for the article's scripts."""
import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "patient")
VERSION_MS = 120000


def teach_kafka_python():
    """For the clients that this process makes from now on."""
    try:
        import kafka  # pylint: disable=import-outside-toplevel
    except ImportError:
        return  # who needs it says so
    for client in (kafka.KafkaConsumer, kafka.KafkaProducer, kafka.KafkaAdminClient):
        if "api_version_auto_timeout_ms" in client.DEFAULT_CONFIG:  # newer ones may have no such thing
            client.DEFAULT_CONFIG["api_version_auto_timeout_ms"] = VERSION_MS
