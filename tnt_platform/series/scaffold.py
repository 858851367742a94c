"""What `dg scaffold defs tnt_platform.components.SeriesDataset NAME` writes: every field, explained."""

from importlib.resources import files

import dagster as dg

TEMPLATE = "defs_template.yaml"


class SeriesScaffolder(dg.Scaffolder):
    """Writes a commented defs.yaml that `tnt validate` takes as it stands."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write the file, unless there is one.

        Raises:
            FileExistsError: a dataset is there already.
        """
        path = request.target_path / "defs.yaml"
        if path.exists():
            raise FileExistsError(f"{path} exists already and is not overwritten; choose another name")
        template = files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
        code = request.target_path.name.upper()
        path.write_text(template.replace("MY_SERIES", code), encoding="utf-8")
