"""Commands that build and check the course; nothing here is installed with the package."""
