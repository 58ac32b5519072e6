"""What tests of workers, whose replicas are children of the test's own process, share."""

from tests.replicas.conftest import no_replica_outlives_its_test

__all__ = ["no_replica_outlives_its_test"]
