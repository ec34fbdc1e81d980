"""Parts that belong to Ray Tune: searcher, scheduler, stopper, concurrency, restarts."""
