"""What image and text files of datasets look like, for whoever makes shards and for whoever reads them."""

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
MAX_IMAGE_BYTES = 20_000_000
MAX_TEXT_BYTES = 65_536
MAX_TAR_MEMBERS = 2_000_000
"""Of one shard."""
IMAGE_COLUMNS = ("image", "filepath", "image_path", "path", "file_name")
CAPTION_COLUMNS = ("caption", "title", "text")
LABEL_COLUMNS = ("label", "class", "cls")
"""Of a CSV or TSV file that names images; the first that its header has is used."""
