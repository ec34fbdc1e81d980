"""The model of a trial: built by timm, grouped into stages, frozen and thawed by a plan."""
