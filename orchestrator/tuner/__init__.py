"""Parts for Ray Tune: searcher, scheduler, stopper, concurrency, restarts."""
