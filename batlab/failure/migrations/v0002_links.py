"""Evidence, worksheets, experiments, links; who wrote a row; PostgreSQL refuses what SQLite does."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

REFUSAL = "what a store keeps is never overwritten: an edit adds a version"
TABLES = {"batlab_marks": "id", "batlab_documents": "kind, id", "batlab_links": "id"}


def upgrade() -> None:
    """Add two tables, and to each table the person and the login behind a row."""
    for name in ("person", "login"):
        op.add_column("batlab_marks", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.create_table(
        "batlab_documents",
        *_signed(),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "id", "version", name="batlab_documents_once"),
    )
    op.create_table(
        "batlab_links",
        *_signed(),
        sa.Column("source", sa.String(160), nullable=False),
        sa.Column("relation", sa.String(16), nullable=False),
        sa.Column("target", sa.String(160), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("is_retired", sa.Boolean, nullable=False),
        sa.UniqueConstraint("id", "version", name="batlab_links_once"),
    )
    for end in ("source", "target"):
        op.create_index(f"ix_batlab_links_{end}", "batlab_links", [end])
    guard = {"sqlite": _guard_sqlite, "postgresql": _guard_postgresql}.get(op.get_context().dialect.name)
    if guard is not None:
        guard()


def _signed() -> list[sa.Column]:
    return [
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("person", sa.Text, nullable=False, server_default=""),
        sa.Column("login", sa.Text, nullable=False, server_default=""),
    ]


def _guard_sqlite() -> None:
    for table, key in TABLES.items():
        if table == "batlab_marks":  # guarded since the first format
            continue
        same = " AND ".join(f"{name} = NEW.{name}" for name in [*key.split(", "), "version"])
        over = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE row = NEW.row OR ({same})) "
        for verb, condition in (("UPDATE", ""), ("DELETE", ""), ("INSERT", over)):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {condition}"
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )


def _guard_postgresql() -> None:
    """Refuse changes to rows, note who is logged in, and let nobody add a version to another's mark or link.

    ``session_user`` cannot be chosen by the client. Where all share one role, it forbids nothing.
    """
    op.execute(
        "CREATE FUNCTION batlab_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE FUNCTION batlab_sign() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "DECLARE kept record; BEGIN NEW.login = session_user; "
        "IF NEW.version <> 1 AND TG_TABLE_NAME <> 'batlab_documents' THEN "
        "EXECUTE format('SELECT author, login FROM %I.%I WHERE id = $1 ORDER BY version LIMIT 1', "
        "TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO kept USING NEW.id; "
        "IF kept.login <> '' AND session_user NOT IN (kept.login, kept.author) THEN "
        "RAISE EXCEPTION 'it belongs to %, and you are logged in as %', kept.author, session_user "
        "USING ERRCODE = 'insufficient_privilege'; END IF; END IF; RETURN NEW; END $$"
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION batlab_refuse()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION batlab_refuse()"
        )
        op.execute(f"CREATE TRIGGER {table}_sign BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION batlab_sign()")
