"""The tables. What each column means; who reads and writes them is in the module of the same noun."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON().with_variant(JSONB(), "postgresql")
Big = BigInteger().with_variant(Integer(), "sqlite")
Time = Float(53)  # seconds since the epoch, UTC

workspace = Table(
    "workspace",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("settings", Json, nullable=False),  # subscription_id, resource_group, location, tags, friendly_name ...
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("created_at", Time, nullable=False),
    Column("archived_at", Time),
    Column("tags", Json, nullable=False),
    Column("last_number", Integer, nullable=False),  # number of its newest run
    Column("changed_at", Time),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parent_id", String(300)),
    Column("type", String(64), nullable=False),
    Column("status", String(32), nullable=False),
    Column("version", Integer, nullable=False),  # grows with every change; a stale writer is refused by it
    Column("attempt", Integer, nullable=False),
    Column("reason", String(64)),
    Column("message", Text),
    Column("display_name", String(255)),
    Column("description", Text),
    Column("target", String(255)),
    Column("priority", Integer, nullable=False),
    Column("submitted_by", String(255)),
    Column("snapshot", String(64)),
    Column("environment_key", String(64)),
    Column("created_at", Time, nullable=False),
    Column("started_at", Time),
    Column("ended_at", Time),
    Column("spec", Json),
    Column("error", Json),
    Column("warnings", Json, nullable=False),
    Column("tags", Json, nullable=False),
    Column("properties", Json, nullable=False),
    Column("heartbeat_at", Time),  # of an interactive run's client
    Column("attempts", Json),  # those that have ended, of a run that may have several
    Column("archived_at", Time),  # hidden from lists since then
    Column("files_removed_at", Time),  # by a retention rule
    UniqueConstraint("experiment_id", "number"),
    # Each list of runs, newest first, is the end of one of these: its cost is that of the runs that it shows.
    Index(None, "experiment_id", "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "parent_id", "created_at", "id"),
    Index(None, "target", "created_at", "id"),
)

# What runs are found and sorted by: each tag, property and argument of each run, kept in step by run_facts.py.
run_facts = Table(
    "run_facts",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("source", String(8), primary_key=True),  # "tag", "property", "argument" or "dataset"
    Column("name", String(255), primary_key=True),
    Column("value", String(250), nullable=False),  # its beginning
    Column("number", Float(53)),  # where the value is one
    Column("created_at", Time, nullable=False),  # of the run
    # The runs with a value, newest first, and the runs by number, are the ends of these.
    Index(None, "source", "name", "value", "created_at", "run_id"),
    Index(None, "source", "name", "number", "run_id"),
    sqlite_with_rowid=False,
)

# What a search for words reads: a run's id, name, experiment, tags and arguments, in small letters.
run_words = Table(
    "run_words",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("words", Text, nullable=False),
    sqlite_with_rowid=False,
)

# That there was a run: its id is never used again, and what names it can be told what became of it.
deleted_runs = Table(
    "deleted_runs",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("experiment", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parent_id", String(300)),
    Column("type", String(64), nullable=False),
    Column("status", String(32), nullable=False),
    Column("submitted_by", String(255)),
    Column("created_at", Time, nullable=False),
    Column("ended_at", Time),
    Column("deleted_at", Time, nullable=False),
    Column("deleted_by", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "deleted_at", "id"),
)

# Which runs go by themselves.
retention_rules = Table(
    "retention_rules",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("filter", Text, nullable=False),
    Column("older_than_days", Float(53)),
    Column("keep_newest", BigInteger),
    Column("daily", Boolean, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("applied_at", Time),
)

run_events = Table(
    "run_events",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("at", Time, nullable=False),
    Column("from_status", String(32), nullable=False),
    Column("to_status", String(32), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("by", String(255), nullable=False),
    Index(None, "run_id", "id"),
)

# One row per node of an attempt: what was started there and what it last reported.
jobs = Table(
    "jobs",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("handle", Json),  # the executor's own word for it
    Column("gpus", Json, nullable=False),
    Column("started_at", Time),
    Column("reported_at", Time),
    Column("report", Json),  # the newest JobReport
)

# How much of each stream of a run is stored: bytes by (run, stream); the base of retries and of verify().
streams = Table(
    "streams",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(1024), primary_key=True),  # "metrics/<writer>" or a log's path
    Column("stored", BigInteger, nullable=False),
    Column("written", BigInteger),  # what the writer says it wrote in all, once it knows
    Column("records", BigInteger, nullable=False),
)

metric_chunks = Table(
    "metric_chunks",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("kind", String(1), nullable=False),  # "d" float64 values, "q" int64, "m" both; "D", "Q", "M" sealed
    Column("count", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index(None, "run_id", "name", "id"),
)

# The few points by which a sealed chunk is drawn from afar, and where it lies.
metric_outlines = Table(
    "metric_outlines",
    metadata,
    Column("chunk_id", ForeignKey("metric_chunks.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(1), nullable=False),
    Column("count", Integer, nullable=False),  # of the points that are kept
    Column("low_step", BigInteger),  # None where a point has no step
    Column("high_step", BigInteger),
    Column("low_time", Time, nullable=False),
    Column("high_time", Time, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

metric_summaries = Table(
    "metric_summaries",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("type", String(64), nullable=False),  # "azureml.v1.scalar" ...
    Column("count", BigInteger, nullable=False),
    Column("last", Float(53)),
    Column("min", Float(53)),
    Column("max", Float(53)),
    Column("last_step", BigInteger),
    Column("min_step", BigInteger),
    Column("max_step", BigInteger),
    Column("description", Text),
    Index(None, "name", "last"),
    Index(None, "name", "min"),
    Index(None, "name", "max"),
)

# What is not a number: lists, rows, tables, images, matrices, and scalars that are text.
metric_entries = Table(
    "metric_entries",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("type", String(64), nullable=False),
    Column("at", Time, nullable=False),
    Column("step", BigInteger),
    Column("value", Text, nullable=False),  # JSON, with NaN and Infinity as Python writes them
    Index(None, "run_id", "name", "id"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(64), primary_key=True),  # digest of its manifest
    Column("created_at", Time, nullable=False),
    Column("files", Json, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Time, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("created_at", Time, nullable=False),
    Column("run_id", String(300)),
    Column("experiment", String(255)),
    Column("root", String(1024), nullable=False),
    Column("files", Json, nullable=False),
    Column("tags", Json, nullable=False),
    Column("properties", Json, nullable=False),
    Column("description", Text),
    Column("framework", String(64)),
    Column("framework_version", String(64)),
    Column("request_id", String(64)),  # the client's own mark: a registration that is sent again is not made again
    Column("datasets", Json),  # pairs of what a dataset was for and its id
    Column("changed_at", Time),
    UniqueConstraint("name", "request_id"),
    Index(None, "run_id"),
)

# The newest version number ever given to a name: a deleted version's number is never given again.
model_numbers = Table(
    "model_numbers",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("last_version", Integer, nullable=False),
)

compute_targets = Table(
    "compute_targets",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("spec", Json, nullable=False),
    Column("executor", String(64), nullable=False),
    Column("provisioning_state", String(32), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("modified_at", Time, nullable=False),
    Column("state_changed_at", Time, nullable=False),
)

datastores = Table(
    "datastores",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("settings", Json, nullable=False),
)

# What is known of a datastore's files, so that the same bytes are not sent twice.
datastore_files = Table(
    "datastore_files",
    metadata,
    Column("datastore", ForeignKey("datastores.name", ondelete="CASCADE"), primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),  # of the file when it was hashed
    Column("digest", String(64), nullable=False),
)

# Where data is, by name and version, or by id alone. What was unregistered stays: runs and models name it by its id.
datasets = Table(
    "datasets",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255)),
    Column("version", Integer),
    Column("definition", Json, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("description", Text),
    Column("tags", Json, nullable=False),
    Column("run_id", String(300)),
    Column("unregistered_at", Time),
    UniqueConstraint("name", "version"),
    Index(None, "run_id"),
)

environments = Table(
    "environments",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("spec", Json, nullable=False),
    Column("created_at", Time, nullable=False),
)

# Each spec is resolved once; its lock is what every later run of the same spec gets.
environment_locks = Table(
    "environment_locks",
    metadata,
    Column("spec_digest", String(64), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("lock", Json, nullable=False),
    Column("created_at", Time, nullable=False),
    Index(None, "key"),
)
