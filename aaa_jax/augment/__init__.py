"""What a policy does to images (Sec. 3.1, 3.2). Knows no loss, file or config."""
