"""Who chooses the policies (Sec. 3.3, Table 4): the controller and its rivals."""
