"""What people may ask for, one file each: to see their data, to have it erased, corrected, or no longer used."""
