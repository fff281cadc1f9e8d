"""What the shared laws run on: nothing. Critics and translators have no chain and no density."""
