"""From a folder of photos to batches: readers, fingerprint, preprocessing, image cache, balance, augmentation."""
