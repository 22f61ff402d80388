"""`python -m nagviz` is `nagviz`."""

from nagviz.cli import main

raise SystemExit(main())
