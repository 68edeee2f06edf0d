"""Small pieces of what tools print."""


def table(head, rows):
    """Lines with columns as wide as they need to be, two blanks apart."""
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def count(number, word):
    """1 topic, 2 topics"""
    return f"{number} {word}" + ("" if number == 1 else "s")


def numbers(ids):
    """With commas, as Kafka prints brokers; - where there are none."""
    return ",".join(map(str, ids)) or "-"
