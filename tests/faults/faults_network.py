"""Faults of the network: links that are cut, both ways or one way only. A cut loses packets; connections stay."""
from scene import fault


def _cut(scene, cuts, least, most):
    """cuts: pairs of sender and receiver."""
    for sender, receiver in cuts:
        scene.network.cut(sender, receiver)
    try:
        scene.pause(least, most)
    finally:
        scene.network.heal()


def _out(one, others):
    return [(one, other) for other in others]


def _in(one, others):
    return [(other, one) for other in others]


def _both(one, others):
    return _out(one, others) + _in(one, others)


def _for_a_session(scene, cuts):
    """Sometimes shorter than a session, mostly longer."""
    _cut(scene, cuts, 0.3 * scene.session_s, 2.0 * scene.session_s)


@fault("network")
def cut_leader(scene):
    """a leader and the other brokers do not hear each other; ZooKeeper and the clients hear all"""
    leader = scene.leader()
    _for_a_session(scene, _both(leader, scene.others(leader)))


@fault("network")
def cut_leader_one_way_out(scene):
    """the other brokers do not hear a leader, which hears them"""
    leader = scene.leader()
    _for_a_session(scene, _out(leader, scene.others(leader)))


@fault("network")
def cut_leader_one_way_in(scene):
    """a leader does not hear the other brokers, which hear it"""
    leader = scene.leader()
    _for_a_session(scene, _in(leader, scene.others(leader)))


@fault("network")
def cut_link(scene):
    """two brokers do not hear each other; the third hears both"""
    one, other = scene.random.sample([b.id for b in scene.cluster.brokers], 2)
    _for_a_session(scene, _both(one, [other]))


@fault("network")
def cut_from_zookeeper(scene):
    """a leader's session ends while it lives and its clients reach it: it is cut from ZooKeeper"""
    _cut(scene, _both(scene.leader(), scene.zookeepers()), 1.2 * scene.session_s, 2.5 * scene.session_s)


@fault("network")
def cut_from_zookeeper_one_way(scene):
    """a leader does not hear ZooKeeper, which hears it, or the other way round"""
    leader, names = scene.leader(), scene.zookeepers()
    cuts = _in(leader, names) if scene.random.random() < 0.5 else _out(leader, names)
    _cut(scene, cuts, 1.2 * scene.session_s, 2.5 * scene.session_s)


@fault("network")
def cut_controller(scene):
    """the controller is cut from the other brokers, not from ZooKeeper: it decides, and nobody hears it"""
    controller = scene.controller()
    _for_a_session(scene, _both(controller, scene.others(controller)))


@fault("network")
def cut_controller_from_zookeeper(scene):
    """the controller is cut from ZooKeeper past its session: another takes over while it still talks to brokers"""
    _cut(scene, _both(scene.controller(), scene.zookeepers()), 1.2 * scene.session_s, 2.5 * scene.session_s)


@fault("network")
def isolate_leader(scene):
    """a leader is cut from the other brokers and from ZooKeeper; its clients still reach it"""
    leader = scene.leader()
    _cut(scene, _both(leader, scene.others(leader) + scene.zookeepers()), 1.2 * scene.session_s, 2.5 * scene.session_s)


@fault("network")
def isolate_leader_wholly(scene):
    """a leader is cut from everybody, also from its clients"""
    leader = scene.leader()
    everybody = scene.others(leader) + scene.zookeepers() + ["clients"]
    _cut(scene, _both(leader, everybody), 1.2 * scene.session_s, 2.5 * scene.session_s)


@fault("network")
def isolate_zookeeper_leader(scene):
    """ZooKeeper's leader is cut from its peers, and from a broker"""
    name = scene.zookeeper_leader()
    peers = [other for other in scene.zookeepers() if other != name]
    _for_a_session(scene, _both(name, peers + [scene.random.choice(scene.alive())]))


@fault("network")
def links_come_and_go(scene):
    """one-way links between brokers, and between brokers and ZooKeeper, are cut at random for a moment, ten times"""
    brokers = [b.id for b in scene.cluster.brokers]
    for _ in range(10):
        links = [(a, b) for a in brokers for b in brokers + scene.zookeepers() if a != b]
        links += [(b, a) for a in brokers for b in scene.zookeepers()]
        _cut(scene, scene.random.sample(links, scene.random.randrange(1, 5)), 0.05, 0.3 * scene.session_s)
