"""In which order peers are measured: A F K K F A A F K ..., so that whatever drifts meanwhile, drifts for all alike."""


def visits(names, pairs, last=()):
    """[(name, runs)]: every pair has each name once, and every second pair is the first's mirror image. Those in `last`
    come after the others, and neighbours of their names are put together, so that they are visited least often. All
    others are visited for each run anew, so that each is as fresh as the other; but for one that is alone."""
    order = [name for name in names if name not in last] + [name for name in names if name in last]
    found = []
    for pair in range(pairs):
        for name in order if pair % 2 == 0 else order[::-1]:
            if found and found[-1][0] == name and (name in last or len(names) == 1):
                found[-1] = (name, found[-1][1] + 1)
            else:
                found.append((name, 1))
    return found
