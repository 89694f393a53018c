"""What pictures that agents observe are made of: codes and their colours, baked ground, views."""
