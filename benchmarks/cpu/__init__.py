"""`rrm_core.reweight` on the CPU: against other ways to do the job, backend against backend, call by call."""
