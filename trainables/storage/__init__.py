"""Storage: places on disks and in buckets, folders of a trial."""
