"""Made-up users who register somewhere: the module `data` that the article's producer imports and never shows.

    >>> data_faker()
    {'name': 'Amina Haddad', 'email': 'amina.haddad@example.org', 'address': '17 Mill Lane, Tunis', ...}

Standard library only. `python3 scripts/data.py` prints one. Pass a random.Random to have the same users again.
"""
import datetime
import json
import random

FIRST_NAMES = ["Amina", "Barnabas", "Carla", "Dmitri", "Elif", "Frieda", "Goran", "Hana", "Ilias", "Jeremias",
               "Klamm", "Leni", "Malek", "Nadia", "Olga", "Pepi", "Rashid", "Sordini", "Tereza", "Yusuf"]
LAST_NAMES = ["Amsel", "Brunswick", "Castellani", "Dvorak", "Erlanger", "Fischer", "Gerstacker", "Haddad", "Iversen",
              "Jansen", "Kovac", "Lasemann", "Mansour", "Novak", "Oswald", "Samsa", "Titorelli", "Zaag"]
STREETS = ["Castle Hill", "Mill Lane", "Harbour Road", "Court Street", "Bridge Square", "Station Avenue", "Old Market"]
CITIES = ["Tunis", "Prague", "Lisbon", "Gdansk", "Trieste", "Izmir", "Oran", "Bergen", "Graz", "Valencia"]
FIRST_DAY = datetime.date(2020, 1, 1)
DAYS = 6 * 365
HOUSES = 200


def data_faker(rng=random):
    """One user, as a dict that json can write."""
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    return {
        "name": f"{first} {last}",
        "email": f"{first}.{last}@example.org".lower(),
        "address": f"{rng.randint(1, HOUSES)} {rng.choice(STREETS)}, {rng.choice(CITIES)}",
        "registered_on": (FIRST_DAY + datetime.timedelta(days=rng.randrange(DAYS))).isoformat(),
    }


if __name__ == "__main__":
    print(json.dumps(data_faker()))
