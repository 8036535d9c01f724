"""From a folder of files to an index table, a split by patient, and decoded images.

A row of the index table is one image:

| column | type | meaning |
| --- | --- | --- |
| path | str | relative to the dataset's folder, with '/'; of a CSV file as it stands there |
| split | str | train, test, or aside (the 16 images of Kaggle's `val` folder, or any other `val` folder) |
| label | int | 1 pneumonia, 0 normal |
| patient | str | from the CSV file, or the file name; a name of unknown pattern is a patient of its own |
| subtype | str | bacteria, virus, none (normal), unknown |
| known | bool | whether the patient is known: given, or in a file name of the published pattern |

After `split_by_patient`, the column `part` says train, validation or test.
"""

from pnlib.datasets.find import Dataset, find_dataset
from pnlib.datasets.images import decode, file_header, load_images
from pnlib.datasets.split import rows_of_run, split_by_patient

__all__ = ["Dataset", "decode", "file_header", "find_dataset", "load_images", "rows_of_run", "split_by_patient"]
