"""Sources of a data set: folders of images, and manifests."""
