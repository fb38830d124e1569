"""Marks: one table, to which rows are only ever added."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

REFUSAL = "marks are never overwritten: an edit adds a version"


def upgrade() -> None:
    """Make the table as the first batlab made it."""
    op.create_table(
        "batlab_marks",
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("first_frame", sa.BigInteger, nullable=False),
        sa.Column("last_frame", sa.BigInteger, nullable=False),
        sa.Column("axis", sa.Text),
        sa.Column("axis_low", sa.Float(53)),
        sa.Column("axis_high", sa.Float(53)),
        sa.Column("axis_units", sa.Text),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("mechanism", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("is_retired", sa.Boolean, nullable=False),
        sa.UniqueConstraint("id", "version", name="batlab_marks_once"),
    )
    op.create_index("ix_batlab_marks_dataset", "batlab_marks", ["dataset"])
    if op.get_context().dialect.name != "sqlite":
        return
    # SQLite's REPLACE deletes without asking the trigger on DELETE, so an INSERT over a row is refused too.
    over = "WHEN EXISTS (SELECT 1 FROM batlab_marks WHERE row = NEW.row OR (id = NEW.id AND version = NEW.version)) "
    for verb, condition in (("UPDATE", ""), ("DELETE", ""), ("INSERT", over)):
        op.execute(
            f"CREATE TRIGGER batlab_marks_no_{verb.lower()} BEFORE {verb} ON batlab_marks {condition}"
            f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
