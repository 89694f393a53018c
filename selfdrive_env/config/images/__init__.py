"""What an environment shows beside rows of numbers: pictures, their kind, size and form, checked.

The setting `observation` is the name of a kind, a table of settings with its `kind`, or several
such tables by name: then observations are a table, too.
"""

from selfdrive_env.config.images.camera import Camera
from selfdrive_env.config.images.pictures import BirdsEye, Picture
from selfdrive_env.config.images.views import KINDS, STATE, Views, make_views, require_rows

__all__ = [
    "KINDS",
    "STATE",
    "BirdsEye",
    "Camera",
    "Picture",
    "Views",
    "make_views",
    "require_rows",
]
