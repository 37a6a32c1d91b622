"""Files and arrays that hold one example each: series, images, videos, sound."""
