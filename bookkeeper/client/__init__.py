"""The catalog at the other end of HTTP: how a worker and a person reach a `bookkeeper serve`. No SQLAlchemy here."""
