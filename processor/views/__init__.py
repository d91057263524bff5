"""What is read, apart from what is folded: pure, fed with records and rows, asked by the web."""
