"""arq, made fit for orders: lanes by urgency, owned leases, and Redis as a doorbell that may be lost."""
